"""What this repository needs for itself, and no plugin's author does: pages, measurements, planted defects."""
