"""What people use today, set up as its users do."""
