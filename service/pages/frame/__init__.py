"""What all pages share: who looks, templates, forms, files, words."""
