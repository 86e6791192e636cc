"""Does a clip show what the prompt says, in the style of the picture? Metrics, probes and what they are asked of.

`metrics` holds scores that need no training; `probes` are small classifiers trained on real StyleWorld renders;
`held_out` asks both of a model, on styles and pairs that training never saw.
"""
