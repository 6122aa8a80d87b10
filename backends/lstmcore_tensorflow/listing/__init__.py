"""What is in files that TensorFlow runs, told from their headers; TensorFlow need not be installed."""
