"""What happens at run time: feeding, running, comparing."""
