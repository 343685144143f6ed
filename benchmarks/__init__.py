"""What speed is compared with: the same networks in stock Keras layers."""
