"""How answers and the place in the topic reach the brokers, so that neither is ahead of the other unseen."""
