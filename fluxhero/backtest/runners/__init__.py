"""What runs inside the engines' own environments: the harness, and one runner an engine."""
