"""DMT-JEPA's local aggregation (arXiv 2405.17995) in PyTorch, place by place: values and gradients that ours are held against.

    python dmt_jepa.py            # rewrites crates/foretell-jepa/tests/parity/dmt-jepa.safetensors

Written from the paper and from what the released code computes, with its two quirks by name; weights are drawn here, not released ones.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cosine_similarity, layer_norm, scaled_dot_product_attention

B, ROWS, COLS, D, HEADS, MOST = 3, 3, 4, 16, 2, 4
N = ROWS * COLS


class ClassBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(D, eps=1e-6)
        self.q = nn.Linear(D, D)
        self.kv = nn.Linear(D, 2 * D)
        self.proj = nn.Linear(D, D)
        self.norm2 = nn.LayerNorm(D, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(D, 2 * D), "fc2": nn.Linear(2 * D, D)})

    def attend(self, query, others):
        """query [D], others [K, D] -> [D]"""
        all = self.norm1(torch.cat([query[None], others]))
        split = lambda x: x.reshape(len(x), HEADS, D // HEADS).transpose(0, 1)[None]
        k, v = self.kv(all).split(D, dim=1)
        found = scaled_dot_product_attention(split(self.q(all[:1])), split(k), split(v))
        return self.proj(found[0].transpose(0, 1).reshape(D))

    def after(self, x):
        return x + self.mlp["fc2"](torch.nn.functional.gelu(self.mlp["fc1"](self.norm2(x))))


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([ClassBlock(), ClassBlock()])
        self.norm = nn.LayerNorm(D, eps=1e-6)

    def local(self, tokens, wrapped, mixed):
        """The teacher's tokens [B, N, D] as they come -> targets [B, N, D]"""
        h = layer_norm(tokens, (D,), eps=1e-5)
        out = []
        for b in range(B):
            for n in range(N):
                row, col = divmod(n, COLS)
                around = [(row + y, col + x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
                if wrapped:
                    around = [(y % ROWS, x % COLS) for y, x in around]
                else:
                    around = [(y, x) for y, x in around if 0 <= y < ROWS and 0 <= x < COLS]
                others = h[b, [y * COLS + x for y, x in around]]
                best = cosine_similarity(others, h[b, n][None], dim=1).topk(min(MOST, len(others))).indices
                others = others[best]
                # Means repeated batch by batch meet rows that go image by image.
                query = h[(b * N + n) % B if mixed else b].mean(0)
                for block in self.blocks:
                    query = block.after(query + block.attend(query, others))
                out.append(self.norm(query))
        return torch.stack(out).reshape(B, N, D)

    def whole(self, tokens):
        """The context's tokens [B, N, D] -> [B, N, D]"""
        out = []
        for x in tokens:
            for block in self.blocks:
                x = block.after(x + block.attend(x.mean(0), x))
            out.append(self.norm(x))
        return torch.stack(out)


def main():
    torch.manual_seed(0)
    head = Head()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    tokens, probe = torch.randn(B, N, D), torch.randn(B, N, D)
    stored = {f"head.{name}": p.detach().clone() for name, p in head.named_parameters()}
    stored |= {"input.tokens": tokens.clone(), "input.probe": probe.clone()}
    kinds = {
        "own": lambda x: head.local(x, wrapped=False, mixed=False),
        "wrapped": lambda x: head.local(x, wrapped=True, mixed=False),
        "mixed": lambda x: head.local(x, wrapped=False, mixed=True),
        "official": lambda x: head.local(x, wrapped=True, mixed=True),
        "whole": head.whole,
    }
    for name, kind in kinds.items():
        head.zero_grad()
        x = tokens.clone().requires_grad_()
        out = kind(x)
        (out * probe).mean().backward()
        stored[f"output.{name}"] = out.detach()
        stored[f"grad.{name}.tokens"] = x.grad.clone()
        stored[f"grad.{name}.q"] = head.blocks[1].q.weight.grad.clone()
        stored[f"grad.{name}.kv"] = head.blocks[0].kv.weight.grad.clone()
    path = Path(__file__).parents[2] / "crates/foretell-jepa/tests/parity/dmt-jepa.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in stored.items()}, path)
    print(path)


if __name__ == "__main__":
    main()
