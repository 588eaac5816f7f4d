"""The reports of a version: the HTML page with its figures, and the model card in Markdown.

Imports training and evaluation; publishing and the commands import it. Start at `page`.
"""
