"""The report: one self-contained HTML page, a short markdown for the Prefect UI, and a summary for the terminal.

`page.render` and `markdown.markdown_summary` make them. Nothing is imported here: what draws plots in another process needs no page.
"""
