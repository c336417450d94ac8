"""What labels and traffic together come to: recall, curves of budgets, the overview."""
