"""Using a trained or published model: predictions, evaluations, export, text, translations, scores, features."""
