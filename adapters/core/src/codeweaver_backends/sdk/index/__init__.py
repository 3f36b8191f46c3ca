"""What is stored beside a payload so that filters can be looked up: facts, keys that keep an order, codes."""
