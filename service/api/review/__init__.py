"""What analysts ask for: what to review, all there is to know of it, and the taking of their verdicts."""
