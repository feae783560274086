"""From source facts to ladder and plan; pure."""
