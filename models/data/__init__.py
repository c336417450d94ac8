"""From values to what a model sees: schema, coercions, arrays, records and their digest."""
