"""What every test shares: Hypothesis says how to repeat a failure, and has no deadline."""

from hypothesis import settings

settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")
