"""What is said to messages: scores, or why there are none."""
