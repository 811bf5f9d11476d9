"""What a workflow runs: build a customer's image, register the release, ask for the deployment."""
