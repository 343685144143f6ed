"""What a trained network looks at: class activation maps, measured, and pages that show them."""
