"""The store floor: transactions, and the engines that make them durable."""
