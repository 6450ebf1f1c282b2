"""Parts of ct_published.py."""
