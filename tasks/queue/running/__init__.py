"""What a flow is given to run a job, and what it gives back."""
