"""`nouba doctor`: looks for everything that keeps work from flowing here, and says what to do about each."""
