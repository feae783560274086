"""What Nouba is measured beside: what a user would write instead, each as favourable to itself as it can be."""
