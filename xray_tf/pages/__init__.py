"""Make plots and pages: the only room that uses matplotlib, seaborn and Jinja2."""
