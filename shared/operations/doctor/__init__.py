"""`nouba doctor`: checks everything that can keep work from flowing here, and says what to do about each."""
