#!/usr/bin/env python3
"""How often each pair of bytes follows each other in mixed files: writes 65,536 bytes, 8 * log2(share of the pair, in billionths).
usage: bigrams.py OUT FOLDER...    Each kind of file, by its extension, has the same weight, and at most 4 MB of it count."""
import collections, math, os, sys
kinds = collections.defaultdict(list)
for folder in sys.argv[2:]:
    for root, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            path = os.path.join(root, name)
            if os.path.isfile(path) and not os.path.islink(path):
                kinds[os.path.splitext(name)[1].lower()[:6]].append(path)
shares = [0.0] * 65536
used = 0
for kind, paths in sorted(kinds.items(), key=lambda kind: -len(kind[1]))[:60]:
    counts, total = collections.Counter(), 0
    for path in paths:
        try:
            data = open(path, "rb").read(1 << 18)
        except OSError:
            continue
        counts.update(zip(data, data[1:])); total += len(data)
        if total > 4 << 20:
            break
    if total > 1 << 16:
        used += 1
        for (a, b), count in counts.items():
            shares[a << 8 | b] += count / total
worth = lambda share: min(255, max(0, round(8 * math.log2(1 + share / max(used, 1) * 1e9))))
open(sys.argv[1], "wb").write(bytes(map(worth, shares)))
