"""The published procedure written plainly, only to be measured against.

What each step computes is that of the published code; nothing is cached, fused, batched or cast. The weights are
those of the models here, so that both must give the same numbers.
"""
