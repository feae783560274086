"""The chart for Kubernetes, and what is generated in it."""
