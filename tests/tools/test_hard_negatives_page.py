"""The page in a real browser: what a person reads there, against a loop over the boxes it was made of."""

import base64
import os
import shutil

import cv2
import numpy as np
import pytest
from analysis_tools.browse_hard_negatives import image_entry, write_page
from playwright.sync_api import sync_playwright

from mmdet_nrpn.evaluation import ProposalErrors

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
AREAS = dict(all=(0, np.inf), small=(0, 32**2), medium=(32**2, 96**2), large=(96**2, np.inf))


@pytest.fixture(scope='module')
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        assert 'CI' not in os.environ, 'CI has to have a browser'
        pytest.skip('neither Chromium nor Chrome is installed')
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """Write the images to a page and open it; errors of its script and requests to a network fail the test."""
    page, wrong = browser.new_page(viewport=dict(width=1300, height=900), offline=True), []
    page.on('pageerror', lambda error: wrong.append(error))
    page.on('request', lambda request: request.url.startswith(('file:', 'data:')) or wrong.append(request.url))

    def open_(errors, names, file_name='{:03}.jpg', size=(240, 400), image=None, **kwargs):
        image = np.full((size[0] // 2, size[1] // 2, 3), 128, np.uint8) if image is None else image
        has_nrpn = [True] * len(names)
        images = [image_entry(file_name.format(i), image, size, e, has_nrpn) for i, e in enumerate(errors)]
        write_page(images, names, tmp_path / 'new' / 'page.html', **kwargs)
        page.goto((tmp_path / 'new' / 'page.html').as_uri())
        return page

    yield open_
    assert not wrong
    page.close()


def random_boxes(rng, num):
    corners = rng.uniform(0, 250, (num, 2))
    sides = rng.choice([10, 50, 120], (num, 1)) * rng.uniform(0.9, 1.1, (num, 2))
    return np.hstack([corners, corners + sides]).round(1).astype(np.float32)


def random_errors(seed, num_objects=None, objects=None):
    rng = np.random.default_rng(seed)
    objects = random_boxes(rng, num_objects) if objects is None else objects
    scores = rng.random((2, 12)).round(3).astype(np.float32)
    return ProposalErrors(
        gt_bboxes=objects,
        gt_ranks=np.where(rng.random(len(objects)) < 0.6, rng.integers(1, 100, len(objects)), 101),
        ignored_bboxes=random_boxes(rng, 1),
        false_positives=random_boxes(rng, 12),
        false_positive_scores=-np.sort(-scores[0]),
        false_positive_ranks=np.sort(rng.choice(np.arange(1, 101), 12, replace=False)),
        regions=random_boxes(rng, 12),
        region_scores=-np.sort(-scores[1]),
        predicted_by_nrpn=rng.random(12) < 0.5,
    )


def choose(page, size, score):
    page.select_option('#size', size)
    page.locator('#score').fill(str(score))


def totals(page):
    """The table as a person reads it: a list of cells by the name of the row."""
    rows = [row.split('\t') for row in page.inner_text('#totals').splitlines()]
    return {name: cells for name, *cells in rows}


def kept(of_image, size, score):
    """Of one image: which objects, which false positives."""
    objects, wrong = (
        [i for i, (x1, y1, x2, y2) in enumerate(boxes) if AREAS[size][0] <= (x2 - x1) * (y2 - y1) <= AREAS[size][1]]
        for boxes in (of_image.gt_bboxes, of_image.false_positives)
    )
    return objects, [i for i in wrong if of_image.false_positive_scores[i] >= score]


def test_totals_order_and_filters(open_page):
    errors = [random_errors(seed, 5) for seed in range(20)]
    page = open_page([[of_image] for of_image in errors], ['mine'])
    assert page.inner_text('h1') == 'mine'
    for size, score in (('all', 0.3), ('all', 0), ('small', 0.5), ('medium', 0), ('large', 0.9)):
        choose(page, size, score)
        objects, missed, false, predicted, wrongness = 0, 0, 0, 0, {}
        for number, of_image in enumerate(errors):
            own, wrong = kept(of_image, size, score)
            lost = [i for i in own if of_image.gt_ranks[i] > 100]
            objects, missed, false = objects + len(own), missed + len(lost), false + len(wrong)
            predicted += of_image.predicted_by_nrpn[wrong].sum()
            if own or wrong:
                wrongness[f'{number:03}.jpg'] = len(lost) + of_image.false_positive_scores[wrong].sum()
        said = totals(page)
        assert said['images'] == ['20'] and said['objects'] == [str(objects)] and said['missed'] == [str(missed)]
        found = objects - missed
        assert said['found by the top 100 proposals'] == [f'{found} ({100 * found / objects:.1f} %)']
        assert said['false positives'] == [str(false)]
        assert float(said['false positives per image'][0]) == pytest.approx(false / 20, abs=0.006)
        share = float(said["of them in one of nRPN's top 100 regions"][0].rstrip(' %'))
        assert share == pytest.approx(100 * predicted / false, abs=0.06)
        names = page.locator('.card h2').all_inner_texts()
        assert set(names) == set(wrongness)
        assert all(wrongness[a] >= wrongness[b] - 1e-9 for a, b in zip(names, names[1:]))
        assert page.locator('rect.missed').count() == missed and page.locator('rect.false').count() == false
        assert page.locator('rect.object').count() == found


def test_boxes_lie_where_they_should_and_hide(open_page):
    of_image = random_errors(1, 5)
    page = open_page([[of_image]], ['mine'])
    choose(page, 'all', 0)
    image = page.locator('svg image').bounding_box()
    scale = image['width'] / 400
    for i, rect in enumerate(page.locator('rect.false').all()):
        drawn, (x1, *_, y2) = rect.bounding_box(), of_image.false_positives[i]
        # a line of two pixels is drawn around it
        assert drawn['x'] - image['x'] == pytest.approx(x1 * scale, abs=3)
        assert drawn['y'] + drawn['height'] - image['y'] == pytest.approx(y2 * scale, abs=3)
        assert rect.locator('title').text_content() == (
            f'false positive, score {of_image.false_positive_scores[i]:.3g}, rank {of_image.false_positive_ranks[i]}'
        )
    assert page.locator('rect.region').count() == 12
    page.get_by_label("nRPN's regions").uncheck()
    assert page.locator('rect.region').count() == 0 and page.locator('rect.false').count() == 12
    before = page.locator('svg').bounding_box()['width']
    page.locator('.views').click()
    assert page.locator('svg').bounding_box()['width'] > 2 * before


def test_two_side_by_side(open_page):
    objects = np.array([[0, 0, 40, 40], [100, 0, 140, 40], [200, 0, 240, 40]], dtype=float)
    none = np.zeros((0, 4))

    def rpn(ranks, false, wrong_ranks):
        false = np.array(false, dtype=float)
        scores = np.full(len(false), 0.01)  # which do not count
        regions = none, np.zeros(0), np.zeros(len(false), bool)
        return ProposalErrors(objects, np.array(ranks), none, false, scores, np.array(wrong_ranks), *regions)

    # the first false positive stays, nearly in its place; the second is past the top 10; the third is gone; one is new
    before = rpn([1, 4, 101], [[0, 100, 40, 140], [100, 100, 140, 140], [200, 100, 240, 140]], [2, 3, 5])
    after = rpn([2, 11, 1], [[300, 100, 340, 140], [2, 100, 42, 140], [100, 100, 140, 140]], [3, 4, 20])
    page = open_page([[before, before], [before, after]], ['stock', 'mine'])
    assert page.inner_text('h1') == 'stock → mine' and not page.locator('#score').is_visible()
    said = totals(page)
    assert said['found by the top 10 proposals'] == ['4 (66.7 %)', '4 (66.7 %)']
    assert said['missed'] == ['2', '2'] and said['false positives in the top 10'] == ['6', '5']
    assert said['false positives of the other that are gone'] == ['', '2']
    assert said['false positives that are new'] == ['', '1']
    assert said['objects found that the other missed'] == ['', '1']
    assert said['objects lost that the other found'] == ['', '1']
    first = page.locator('.card').first  # where they differ
    assert '2 gone, 1 new; 1 objects gained, 1 lost' in first.inner_text()
    assert [first.locator('figure').nth(i).locator('rect.changed').count() for i in (0, 1)] == [2, 1]
    page.select_option('#top', '30')  # then what ranks 20 and 11 is there, too
    said = totals(page)
    assert said['false positives in the top 30'] == ['6', '6'] and said['missed'] == ['2', '1']
    assert said['false positives of the other that are gone'] == ['', '1']
    assert said['objects lost that the other found'] == ['', '0']


def test_of_many_images_those_are_shown_on_which_two_differ_most(open_page):
    same = random_errors(4, 2)
    page = open_page([[same, same]] * 9 + [[same, random_errors(5, objects=same.gt_bboxes)]], ['a', 'b'], num_shown=1)
    assert page.locator('.card h2').all_inner_texts() == ['009.jpg']
    assert 'the 1 on which the two differ most' in page.inner_text('#about')


def test_more_images_than_a_page_and_than_are_shown(open_page):
    page = open_page([[random_errors(seed, 2)] for seed in range(60)], ['mine'], num_shown=55)
    assert page.locator('.card').count() == 48 and totals(page)['images'] == ['60']
    page.get_by_role('button', name='Show more (48 of 55)').click()
    assert page.locator('.card').count() == 55 and not page.locator('#more').is_visible()
    assert 'Shown are the 55 that are most wrong' in page.inner_text('#about')


def test_names_are_text_and_no_markup(open_page):
    name = '</script><script>throw 1</script><b>&amp;" onload="throw 1.jpg'
    page = open_page([[random_errors(3, 2)]], ['<i>mine</i>'], file_name=name)
    assert page.inner_text('h1') == '<i>mine</i>' and page.inner_text('.card h2') == name
    assert page.locator('svg').get_attribute('aria-label') == name


NO_ERRORS = ProposalErrors(*(np.zeros(shape) for shape in ((0, 4), 0, (0, 4), (0, 4), 0, 0, (0, 4), 0, 0)))


def decoded(image):
    entry = image_entry('a', image, image.shape, [NO_ERRORS], [False])
    jpeg = np.frombuffer(base64.b64decode(entry['jpeg'].split(',')[1]), np.uint8)
    return cv2.imdecode(jpeg, cv2.IMREAD_COLOR).astype(int)


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('dtype, white', [(np.uint8, 255), (np.uint16, 65535), (np.uint16, 4095), (np.float32, 1.0)])
def test_images_of_any_depth_are_shown(channels, dtype, white):
    image = np.zeros((40, 60, channels), dtype)
    image[:, 30:] = white
    shown = decoded(image)
    assert shown.shape == (40, 60, 3)
    assert shown[:, :28].max() < 20 and shown[:, 32:].min() > 235


def test_colours_are_kept_and_a_uniform_image_is_shown():
    blue = np.full((40, 60, 3), (255, 0, 0), np.uint8)
    assert np.abs(decoded(blue) - blue).max() < 8
    assert decoded(np.full((40, 60, 1), 7, np.uint16)).shape == (40, 60, 3)


@pytest.mark.parametrize('height, width', [(2000, 2), (2, 2000), (1, 1), (480, 640)])
def test_images_of_any_size_are_shown_and_leave_room_for_others(open_page, height, width):
    shown = decoded(np.zeros((height, width, 3), np.uint8))
    scale = min(1, 480 / max(height, width))
    assert shown.shape[:2] == (max(1, round(scale * height)), max(1, round(scale * width)))
    page = open_page([[random_errors(0, objects=np.zeros((1, 4)))]], ['mine'], size=(max(2, height), max(2, width)))
    box = page.locator('svg').bounding_box()
    assert 10 <= box['height'] <= 900 and box['width'] > 100


def test_an_image_that_was_stretched_lies_below_its_boxes(open_page):
    page = open_page(
        [[NO_ERRORS._replace(gt_bboxes=np.zeros((1, 4)), gt_ranks=np.zeros(1))]],
        ['mine'],
        image=np.full((90, 90, 3), 128, np.uint8),
    )
    shown = cv2.imdecode(np.frombuffer(page.locator('svg').screenshot(), np.uint8), cv2.IMREAD_COLOR)
    height, width = shown.shape[:2]
    for x in (0.05, 0.5, 0.95):
        assert np.abs(shown[height // 2, int(x * width)].astype(int) - 128).max() < 8
