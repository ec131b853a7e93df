"""A round of training in plain numpy, float64: what the kernels do, said once more, slowly.

Random numbers are those of the kernels (the integers must be the same); the arithmetic is not, so results agree to
single precision's rounding.
"""

import numpy as np

MASK = (1 << 64) - 1
GOLDEN, PLACE = 0x9E3779B97F4A7C15, 0xD1342543DE82EF95
ONE, TWO = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
POOL, PICK = 0xA0761D6478BD642F, 0xE7037ED1A0B428DB
START = 0x80000000


def mix(x):
    x &= MASK
    x = (x ^ x >> 30) * ONE & MASK
    x = (x ^ x >> 27) * TWO & MASK
    return x ^ x >> 31


class Reference:
    """The tables of a training, and rounds of it."""

    def __init__(self, encoded, options, keep, chance, other, inputs, outputs, grams=None):
        self.encoded, self.options = encoded, options
        self.keep, self.chance, self.other = keep.tolist(), chance, other
        self.inputs, self.outputs = inputs.astype(np.float64), outputs.astype(np.float64)
        self.grams = grams or [[i] for i in range(len(keep))]
        self.loss, self.predictions = 0.0, 0

    def key(self, epoch):
        return mix(self.options.seed * GOLDEN + epoch * PLACE + ONE)

    def token(self, position):
        return int(self.encoded[position])

    def kept(self, position, key):
        random = mix(key ^ position * PLACE & MASK)
        return random >> 32 <= self.keep[self.token(position) & START - 1]

    def words(self, start, stop, key):
        """(word, sentence, random number, whether it is the lane's own) of each kept word."""
        low, found, options = start, 0, self.options
        while low > 0 and found < options.window and start - low < options.stretch and not self.token(low) & START:
            low -= 1
            found += self.kept(low, key)
        words, sentence, found = [], 0, 0
        for position in range(low, len(self.encoded)):
            token = self.token(position)
            if position >= stop and (token & START or found >= options.window or position - stop >= options.stretch):
                break
            sentence += token >> 31
            if self.kept(position, key):
                random = mix(key ^ position * PLACE & MASK)
                words.append((token & START - 1, sentence, random, start <= position < stop))
                found += position >= stop
        return words

    def noise(self, random):
        place = (random >> 11) * 2.0**-53 * len(self.chance)
        word = int(place)
        return word if place - word < self.chance[word] else int(self.other[word])

    def lane(self, start, stop, epoch, alpha):
        """The changes to rows: of inputs by word, of outputs by row; and the noise words drawn."""
        options, key = self.options, self.key(epoch)
        words = self.words(start, stop, key)
        base = mix(key ^ (start * PLACE + POOL & MASK))
        pool = [self.noise(mix(base + i * GOLDEN)) for i in range(options.pool)]
        vectors = {word: self.inputs[self.grams[word]].mean(axis=0) for word, *_ in words}
        targets = {word: self.outputs[word].copy() for word in (*pool, *(word for word, _, _, own in words if own))}
        before_in = {word: row.copy() for word, row in vectors.items()}
        before_out = {word: row.copy() for word, row in targets.items()}
        for i, (word, sentence, random, own) in enumerate(words):
            if not own:
                continue
            reach = options.window
            if options.shrink_windows:
                reach = 1 + ((random & 0xFFFFFFFF) * options.window >> 32)
            around = [j for j in range(max(0, i - reach), min(len(words), i + reach + 1)) if j != i]
            contexts = [words[j][0] for j in around if words[j][1] == sentence]
            if not contexts:
                continue
            noise = []
            for t in range(1, options.shared + 1):
                if t & 3 == 1:
                    random = mix(random + PICK)  # noqa: PLW2901
                pick = pool[(random >> 16 * (t & 3) & 0xFFFF) * options.pool >> 16]
                if pick != word:
                    noise.append(pick)
            self.step(word, noise, contexts, vectors, targets, alpha)
        return (
            {word: row - before_in[word] for word, row in vectors.items()},
            {word: row - before_out[word] for word, row in targets.items()},
        )

    def step(self, word, noise, contexts, vectors, targets, alpha):
        """One centre word."""
        rows = np.array([targets[k] for k in (word, *noise)])
        labels = np.array([1.0] + [0.0] * len(noise))
        weights = np.array([len(self.grams[c]) for c in contexts], dtype=np.float64)
        if self.options.method == "cbow":
            total = sum(weight * vectors[c] for weight, c in zip(weights, contexts, strict=True))
            inputs = (total / weights.sum() if self.options.cbow_mean else total)[None]
        else:
            inputs = np.array([vectors[c] for c in contexts])
        scores = inputs @ rows.T
        errors = (labels - 1 / (1 + np.exp(-scores))) * alpha
        self.loss += np.log1p(np.exp(np.where(labels == 1, -scores, scores))).sum()
        self.predictions += len(inputs)
        # Targets see inputs as they were, but for a word that is a context twice: the second time it has moved.
        changes = np.zeros_like(rows)
        if self.options.method == "cbow":
            move = errors[0] @ rows * (1 if self.options.cbow_mean else 1 / weights.sum())
            changes += np.outer(errors[0], inputs[0])
            for c in contexts:
                vectors[c] += move
        else:
            for x, c in enumerate(contexts):
                changes += np.outer(errors[x], vectors[c])
                vectors[c] += errors[x] @ rows
        for k, change in zip((word, *noise), changes, strict=True):
            targets[k] += change

    def round(self, number):
        """Round ``number`` of all epochs."""
        options, length = self.options, len(self.encoded)
        span = options.lanes * options.stretch
        epoch, base = divmod(number * span, -(-length // span) * span)
        done = epoch * length + base
        fall = (options.alpha - options.min_alpha) / (options.epochs * length)
        alpha = max(options.min_alpha, options.alpha - fall * done)
        lanes = []
        for lane in range(options.lanes):
            start = min(length, base + lane * options.stretch)
            stop = min(length, start + options.stretch)
            if start < stop:
                lanes.append(self.lane(start, stop, epoch, alpha))
        inputs = [[(g, change) for word, change in lane[0].items() for g in self.grams[word]] for lane in lanes]
        self.add(self.inputs, inputs)
        self.add(self.outputs, [list(lane[1].items()) for lane in lanes])

    def add(self, table, lanes):
        """Add the lanes' changes, damped where many touched a row."""
        many = np.zeros(len(table))
        for lane in lanes:
            for row, _ in lane:
                many[row] += 1
        for lane in lanes:
            for row, change in lane:
                table[row] += change * min(1.0, self.options.damping / many[row])
