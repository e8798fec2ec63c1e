"""Log-mel spectrograms by torchaudio, librosa, Kaldi's fbank as AST calls it, and Whisper's feature extractor: what ours are held against.

    pip install torchaudio librosa transformers soundfile
    python mel.py                 # rewrites crates/foretell-data/tests/sound/mel.json
    python mel.py --wavs FOLDER   # times a folder of WAV files to log-mel with two workers, one JSON line for each library

The second is for `foretell bench load audio-jepa --data FOLDER`; bench/compare --only mel runs them in turn.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch


def torchaudio_mel(wave, rate, bands, window, hop, fft):
    import torchaudio

    mel = torchaudio.transforms.MelSpectrogram(rate, n_fft=fft, win_length=window, hop_length=hop, n_mels=bands, power=2.0)
    return (mel(torch.from_numpy(wave)) + torch.finfo(torch.float32).eps).log().numpy()


def librosa_mel(wave, rate, bands, window, hop, fft):
    import librosa

    mel = librosa.feature.melspectrogram(y=wave, sr=rate, n_fft=fft, win_length=window, hop_length=hop, n_mels=bands)
    return librosa.power_to_db(mel)


def kaldi_mel(wave, rate, bands, window, hop, fft):
    from torchaudio.compliance import kaldi

    wave = torch.from_numpy(wave)[None]
    return kaldi.fbank(
        wave - wave.mean(), htk_compat=True, sample_frequency=rate, use_energy=False, window_type="hanning",
        num_mel_bins=bands, dither=0.0, frame_shift=1000 * hop / rate, frame_length=1000 * window / rate,
    ).T.numpy()


def whisper_mel(wave, rate, bands, window, hop, fft):
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=bands, sampling_rate=rate, hop_length=hop, n_fft=fft)
    return np.asarray(extractor._np_extract_fbank_features(wave[None].astype(np.float64), "cpu"))[0]


MELS = {"torchaudio": torchaudio_mel, "librosa": librosa_mel, "kaldi-ast": kaldi_mel, "whisper": whisper_mel}


def sound(rate, seconds, seed):
    """A rising tone in noise, as a recorder of 16 bits has it."""
    t = np.arange(int(rate * seconds)) / rate
    rng = np.random.default_rng(seed)
    wave = 0.3 * np.sin(2 * np.pi * (200 + 2000 * t) * t) + 0.03 * rng.standard_normal(len(t))
    return np.round(wave * 32767).astype(np.int16)


def golden():
    cases, waves = [], {}
    for rate, seconds, bands in [(16000, 0.2, 40), (8000, 0.23, 32)]:
        numbers = sound(rate, seconds, rate)
        waves[rate] = numbers.tolist()
        wave = numbers.astype(np.float32) / 32768
        window, hop = rate // 40, rate // 100
        for name, mel in MELS.items():
            if name == "whisper" and rate != 16000:
                continue  # Its extractor lays bands to 8 kHz whatever the rate.
            fft = {"kaldi-ast": 1 << (window - 1).bit_length(), "whisper": window}.get(name, 1 << (2 * window - 1).bit_length())
            values = mel(wave, rate, bands, window, hop, fft)
            cases.append({
                "preset": name, "rate": rate, "bands": bands, "frames": values.shape[1],
                "values": [round(float(x), 6) for x in values.flatten()],
            })
    path = Path(__file__).parents[2] / "crates/foretell-data/tests/sound/mel.json"
    path.write_text(json.dumps({"waves": waves, "cases": cases}, separators=(",", ":")))
    print(path, path.stat().st_size)


def one(job):
    import soundfile

    path, name, bands = job
    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    wave = np.ascontiguousarray(wave.mean(1))
    window, hop = rate // 40, rate // 100
    return MELS[name](wave, rate, bands, window, hop, 1 << (2 * window - 1).bit_length()).shape[1]


def begin():
    torch.set_num_threads(1)


def timed(folder, bands, workers, names):
    from concurrent.futures import ProcessPoolExecutor

    paths = sorted(str(path) for path in Path(folder).rglob("*.wav"))
    for name in names:
        with ProcessPoolExecutor(workers, initializer=begin) as pool:
            # Imports and filters are not timed.
            list(pool.map(one, [(path, name, bands) for path in paths[:64]], chunksize=16))
            start = time.perf_counter()
            frames = sum(pool.map(one, [(path, name, bands) for path in paths], chunksize=16))
            seconds = time.perf_counter() - start
        print(json.dumps({"library": name, "files": len(paths), "samples_per_s": len(paths) / seconds, "frames": frames}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wavs", metavar="FOLDER")
    parser.add_argument("--bands", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--libraries", nargs="+", default=["torchaudio", "librosa"], choices=list(MELS))
    args = parser.parse_args()
    timed(args.wavs, args.bands, args.workers, args.libraries) if args.wavs else golden()
