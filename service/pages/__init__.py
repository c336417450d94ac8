"""What people look at: templates, static files and their routes. Jinja2 is loaded with the first page."""
