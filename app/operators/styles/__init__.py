"""For operators: styles from the day they come in to the day they are retired."""
