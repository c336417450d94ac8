"""Trees over what the network sees and makes of a record, taught or grown, as the graph serves them."""
