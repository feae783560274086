"""Support finds a payment and a wallet, and corrects a balance."""
