"""What people read of a version: a page with pictures, and a model card."""
