"""The report: a self-contained HTML page (`page.render`), a markdown summary for the Prefect UI (`markdown.markdown_summary`), and
terminal output (`terminal`).

Nothing is imported here: the process that draws plots does not need the page.
"""
