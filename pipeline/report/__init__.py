"""What people read of a version: the page in HTML with its figures, and the card in Markdown.

Imports training and evaluation; publishing and the commands import it. Start at `page`.
"""
