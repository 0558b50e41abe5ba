"""Figures of the lectures, each with a check of what it shows, in folders by topic.

`engine.py` runs, draws and checks one figure, `trained.py` trains the models that it needs, `style.py` is how figures
look, `gallery.py` is the page that shows all, and `__main__.py` is the command.
"""
