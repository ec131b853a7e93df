// torch's random numbers, drawn in the browser: what torch.manual_seed(seed) and then normal_() or uniform_() give on a
// CPU. The generator is the Mersenne Twister (Matsumoto and Nishimura 1998), the normal numbers are Box and Muller's,
// sixteen at a time as torch takes them. The last bit of a number may differ, for torch computes logarithms and
// cosines in 32 bits.

const WORDS = 624;
const MIDDLE = 397;
const KEPT = 512; // blocks of random numbers from one state that is kept to the next

export class Generator {
  #state = new Uint32Array(WORDS);
  #block = 0; // how many blocks have been drawn
  #at = WORDS;
  #kept = []; // the state before every KEPT-th block

  constructor(seed) {
    this.#state[0] = seed;
    for (let i = 1; i < WORDS; i++) {
      const last = this.#state[i - 1] ^ (this.#state[i - 1] >>> 30);
      this.#state[i] = Math.imul(1812433253, last) + i;
    }
  }

  /** Go to the place of a random number: the next is that of this index. */
  seek(index) {
    const block = Math.floor(index / WORDS) + 1; // the one that holds it
    const from = Math.min(Math.floor(block / KEPT), this.#kept.length - 1);
    if (from >= 0 && (block < this.#block || from * KEPT > this.#block)) {
      this.#state.set(this.#kept[from]);
      this.#block = from * KEPT;
    }
    while (this.#block < block) this.#draw();
    this.#at = index % WORDS;
  }

  /** A number of 32 bits. */
  next() {
    if (this.#at === WORDS) this.#draw();
    let y = this.#state[this.#at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  #draw() {
    if (this.#block === this.#kept.length * KEPT) this.#kept.push(this.#state.slice());
    const state = this.#state;
    for (let i = 0; i < WORDS; i++) {
      const y = (state[i] & 0x80000000) | (state[(i + 1) % WORDS] & 0x7fffffff);
      state[i] = state[(i + MIDDLE) % WORDS] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.#block++;
    this.#at = 0;
  }

  /** From 0 up to 1, in steps of 2⁻²⁴. */
  #unit() {
    return (this.next() & 0xffffff) / 0x1000000;
  }

  /** The numbers from … to of a tensor's normal_() whose first random number has the index `start`; 16 divides both. */
  normal(start, from, to) {
    const values = new Float32Array(to - from);
    this.seek(start + from);
    for (let i = 0; i < values.length; i += 16) {
      const drawn = Float64Array.from({ length: 16 }, () => this.#unit());
      for (let j = 0; j < 8; j++) {
        const radius = Math.sqrt(-2 * Math.log(1 - drawn[j]));
        const angle = 2 * Math.PI * drawn[j + 8];
        values[i + j] = radius * Math.cos(angle);
        values[i + j + 8] = radius * Math.sin(angle);
      }
    }
    return values;
  }

  /** All of a tensor's normal_(), of 16 numbers at least; where 16 does not divide them, torch draws the last 16 anew. */
  tensor(start, size) {
    const values = new Float32Array(size);
    values.set(this.normal(start, 0, size - (size % 16)));
    if (size % 16) values.set(this.normal(start + size, 0, 16), size - 16);
    return { values, next: start + size + (size % 16 ? 16 : 0) };
  }

  /** A tensor's uniform_(low, high), its first random number having the index `start`. */
  uniform(start, count, low, high) {
    this.seek(start);
    return Float32Array.from({ length: count }, () => this.#unit() * (high - low) + low);
  }
}
