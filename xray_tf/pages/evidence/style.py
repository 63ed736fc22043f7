"""The styles that only the evidence page has."""

EVIDENCE_STYLE = """
.evidence { margin: 1.6rem 0 2.4rem; }
.name { font-size: 1.45rem; margin: 0; overflow-wrap: anywhere; }
.evidence h2, .evidence h3, .evidence h4 { font-size: 1.2rem; margin: 0 0 0.6rem; }
.evidence > .name { font-size: 1.45rem; margin: 0; }
.verdict { font-size: 1.15rem; }
.scale { margin: 0.9rem 0 0.4rem; max-width: 44rem; font-variant-numeric: tabular-nums; }
.ends { display: flex; justify-content: space-between; gap: 1rem; font-size: 0.9rem; color: var(--muted); }
.track { position: relative; height: 1.15rem; border-radius: 0.3rem; background: var(--line); print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.track i { position: absolute; top: 0; bottom: 0; right: 0; background: var(--warn-line); opacity: 0.55; border-left: 2px solid var(--warn-line);
  border-radius: 0 0.3rem 0.3rem 0; }
.track b { position: absolute; top: -0.25rem; bottom: -0.25rem; width: 4px; margin-left: -2px; background: var(--ink); border-radius: 2px; }
.value { position: relative; height: 1.5rem; font-weight: 600; }
.value span { position: absolute; top: 0.2rem; }
.caveats { list-style: none; margin: 0; padding: 0; display: grid; gap: 0.5rem; }
.caveats li { padding: 0.5rem 0.8rem; border-radius: 0.4rem; border-left: 4px solid var(--line); background: var(--soft); }
.caveats .serious { border-color: var(--warn-line); background: var(--warn); color: var(--warn-ink); print-color-adjust: exact; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(10rem, 100%), 1fr)); gap: 0.8rem; max-width: 58rem; }
.pictures figure { margin: 0; max-width: 22rem; background: var(--card); color: var(--ink); }
.pictures img, .cases img { display: block; width: 100%; height: auto; background: #000000; border-radius: 0.3rem; }
figcaption { font-size: 0.9rem; padding: 0.35rem 0.2rem 0; color: var(--muted); }
.cases { list-style: none; margin: 0.8rem 0; padding: 0; display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: 0.8rem; }
.cases li { display: grid; align-content: start; gap: 0.05rem; overflow-wrap: anywhere; line-height: 1.35; break-inside: avoid; }
.cases img { margin-bottom: 0.3rem; }
.cases .none { display: grid; place-items: center; aspect-ratio: 1; border: 1px dashed var(--line); border-radius: 0.3rem; color: var(--muted);
  font-size: 0.85rem; margin-bottom: 0.3rem; }
@media print { .evidence + .evidence { break-before: page; } .pictures { grid-template-columns: repeat(3, 1fr); }
  .cases { grid-template-columns: repeat(5, 1fr); }
  .caveats li, .scale, .track { break-inside: avoid; } }
"""
