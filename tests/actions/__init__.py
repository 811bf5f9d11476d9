"""A small GitHub Actions: it reads workflows, fills in their expressions and runs their steps as the real one does."""
