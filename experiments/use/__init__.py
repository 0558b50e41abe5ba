"""Using a trained or published model: text, translations, scores, features."""
