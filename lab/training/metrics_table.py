"""Table at the end of a training: a line for each split, the most confused classes, and how long it took."""

from foundation.errors import printable
from foundation.grammar import duration
from lab.training.evaluation import accuracy_interval

FEW = 1000  # images; an accuracy on fewer is shown with its interval
NAMED = 5  # maximum number of absent classes named


def print_table(run, metrics, class_names):
    """Print the contents of a run's metrics.json."""
    print_splits({name: metrics[name] for name in ("train", "val", "test")}, class_names)
    for pair in metrics["most_confused"][:3]:
        true, predicted = printable(pair["true"]), printable(pair["predicted"])
        print(f"{true} taken for {predicted}: {pair['images']} ({100 * pair['share']:.1f} % of {true})")
    print(
        f"best epoch on val {metrics['best_epoch']} of {metrics['epochs']}; trained {duration(metrics['seconds'])}, "
        f"{metrics['images_per_second']:,.0f} images/s; all in {run.output}"
    )


def print_splits(metrics, class_names):
    """Print {split: metrics}, as `lab.training.evaluation.measure` returns them."""
    has_few = any(m["images"] < FEW for m in metrics.values())
    head = f" {'95 % interval':>16}" if has_few else ""
    print(f"\n{'split':6} {'images':>8} {'loss':>8} {'accuracy':>9}{head} {'top-5':>7} {'micro F1':>9} {'macro F1':>9}")
    for name, m in metrics.items():
        top5 = f"{100 * m['top5_accuracy']:6.2f}%" if "top5_accuracy" in m else f"{'-':>7}"
        interval = f" {interval_in_words(m):>16}" if has_few else ""
        shares = f"{100 * m['accuracy']:8.2f}%{interval} {top5} {m['f1_micro']:9.4f} {m['f1_macro']:9.4f}"
        print(f"{name:6} {m['images']:8,} {m['loss']:8.4f} {shares}")
    for name, m in metrics.items():
        if note := note_on_absent(name, m, class_names):
            print(f"note: {printable(note)}")


def interval_in_words(m) -> str:
    """Return the 95 % interval of the accuracy of a split of few images, in percent; empty for a large split."""
    if m["images"] >= FEW:
        return ""
    low, high = accuracy_interval(m["accuracy"], m["images"])
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def note_on_absent(name, m, class_names) -> str:
    """Return a note on the classes that a split has no image of, and on its macro F1; empty if it has all classes."""
    absent = m.get("absent_classes", ())
    known = dict(enumerate(class_names))
    shown = ", ".join(known.get(label, f"class {label}") for label in absent[:NAMED]) + (" ..." if len(absent) > NAMED else "")
    return f"{name} has no image of {shown}: macro F1 is over the classes that are there or were named" if absent else ""
