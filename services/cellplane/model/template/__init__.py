"""The language of types, traits and managed resources: pure, and it always comes to an end."""
