from mrcnn.weights.report import LoadReport


def test_long_lists_are_cut():
    report = LoadReport("w.h5", loaded=["a"], missing=[f"layer{n}" for n in range(11)])
    assert str(report).splitlines() == [
        "Weights from w.h5",
        "  loaded                            1 layers",
        "  not in the file                  11 layers  "
        "layer0, layer1, layer2, layer3, layer4, layer5, layer6, layer7, and 3 more",
    ]
    assert report.untrained == report.missing


def test_skipped_layers_by_reason():
    report = LoadReport("w.h5", skipped={"a": "excluded", "b": "excluded"})
    assert str(report).splitlines()[2] == "  skipped, excluded                 2 layers  a, b"


def test_mismatch_of_classes_and_of_shapes():
    report = LoadReport("w.h5", mismatched={"logits": ([(4, 81)], [(4, 2)]), "mask": (0, 0)})
    assert report.mismatch_message(81, 2) == (
        'The checkpoint "w.h5" has 81 classes and the Config has 2: pass exclude=["logits", '
        '"mask"] to train these layers for your classes, or set NUM_CLASSES = 81 to use the '
        "checkpoint as it is."
    )
    # With equal classes, or none to compare, it cannot be their number.
    for classes in ((81, 81), (None, 2)):
        message = report.mismatch_message(*classes)
        assert '"logits" has shapes [(4, 81)] in the file and [(4, 2)] in the model' in message
        assert "BACKBONE" in message
