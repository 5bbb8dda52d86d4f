"""From what is known of a run to what people read and look at."""
