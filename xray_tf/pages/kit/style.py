"""The report's style sheet: light and dark, phone and print, visible keyboard focus; system fonts
only.
"""

STYLE = """
:root { color-scheme: light dark; --ground: #f6f8f9; --card: #ffffff; --ink: #1f2933; --muted: #52606b; --line: #d9e0e5;
  --accent: #005f96; --soft: #e8f1f7; --warn: #fff1e5; --warn-line: #b84a00; --warn-ink: #6d2c00; }
@media (prefers-color-scheme: dark) { :root { --ground: #12171c; --card: #1b2229; --ink: #e6ebef; --muted: #a5b1bb; --line: #36414b;
  --accent: #74bdec; --soft: #203443; --warn: #3a2412; --warn-line: #f0883e; --warn-ink: #ffd9b8; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main, footer { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1.25rem; }
h1 { font-size: clamp(1.6rem, 4vw, 2.3rem); line-height: 1.15; margin: 0.1rem 0 0.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 0 0 0.8rem; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 0.6rem; }
p { margin: 0.5rem 0; }
.eyebrow { color: var(--accent); font-size: 0.85rem; font-weight: 600; margin: 0; }
.lead { font-size: 1.1rem; max-width: 48rem; }
.small, footer { color: var(--muted); font-size: 0.87rem; }
.notice, .warning { padding: 0.6rem 0.9rem; border-radius: 0.4rem; background: var(--soft); border-left: 4px solid var(--accent); }
.warning { background: var(--warn); border-color: var(--warn-line); color: var(--warn-ink); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 0.8rem; margin: 1.2rem 0 0.6rem; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 0.6rem; padding: 0.8rem 1rem; }
.tile dt { color: var(--muted); font-size: 0.9rem; }
.tile dd { margin: 0; }
.tile b { display: block; font-size: 1.9rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile small { color: var(--muted); font-variant-numeric: tabular-nums; }
nav { display: flex; flex-wrap: wrap; gap: 0.4rem 1.1rem; margin: 1.2rem 0; padding: 0.7rem 0; border-block: 1px solid var(--line); }
a { color: var(--accent); text-underline-offset: 0.15em; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 2px; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 0.5rem; top: 0.5rem; background: var(--card); padding: 0.5rem 0.8rem; z-index: 1; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 0.7rem; padding: 1.2rem 1.3rem; margin: 1.1rem 0; }
.scroll { overflow-x: auto; margin: 0.6rem 0; }
table { border-collapse: collapse; width: 100%; font-size: 0.93rem; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
th, td { text-align: left; vertical-align: top; padding: 0.45rem 0.9rem 0.45rem 0; border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
thead th { color: var(--muted); font-size: 0.84rem; font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 600; }
tbody tr:last-child > * { border-bottom: 0; }
.number { font-weight: 600; }
.whole { white-space: nowrap; }
.bar { display: inline-block; position: relative; width: 8rem; height: 0.7rem; border-radius: 0.35rem; background: var(--line); print-color-adjust: exact; }
.bar i { position: absolute; top: 0; bottom: 0; min-width: 3px; border-radius: 0.35rem; background: var(--accent); opacity: 0.55; }
.bar b { position: absolute; top: -0.15rem; width: 3px; height: 1rem; margin-left: -1.5px; background: var(--ink); }
.chips { display: flex; flex-wrap: wrap; gap: 0.4rem; }
.chips span { background: var(--soft); border-radius: 1rem; padding: 0.1rem 0.7rem; font-size: 0.86rem; overflow-wrap: anywhere; }
figure { margin: 0.8rem 0 0; background: #ffffff; border: 1px solid var(--line); border-radius: 0.5rem; padding: 0.4rem; }
figure img { display: block; width: 100%; height: auto; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: 0.9rem; align-items: start; }
details { margin: 0.9rem 0 0; }
summary { cursor: pointer; color: var(--accent); }
details td, details th { overflow-wrap: anywhere; }
pre { overflow-x: auto; background: var(--soft); border-radius: 0.4rem; padding: 0.7rem 0.9rem; font-size: 0.88rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 40rem) { main, footer { padding: 1rem 0.75rem; } section { padding: 0.9rem 0.8rem; } .bar { width: 5rem; }
  .broad { min-width: 44rem; } .wide { overflow-x: auto; } .wide img { min-width: 44rem; } }
@media print { :root { --ground: #ffffff; --card: #ffffff; --ink: #000000; --muted: #444444; --line: #cccccc; --accent: #004a75; --soft: #f2f2f2;
    --warn: #fff4ea; --warn-line: #b84a00; --warn-ink: #5a2500; }
  body { font-size: 11pt; } nav, .skip { display: none; } section { border: 0; padding: 0; }
  figure, tr, .tile { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .scroll { overflow: visible; } }
"""
