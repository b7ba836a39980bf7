"""What the HTML page of a run is made of."""
