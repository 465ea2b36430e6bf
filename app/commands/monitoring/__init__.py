"""Commands about an installation while it runs, and what `portrait doctor` checks of it."""
