def acknowledge(app):
    pass
